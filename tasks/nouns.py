"""Things that can be counted, for the retrieval questions: our own lists, lower case, plural."""

NOUNS: dict[str, tuple[str, ...]] = {
    "animals": (
        "cats", "dogs", "horses", "birds", "cows", "pigs", "sheep", "goats", "rabbits", "ducks", "lions", "bears",
        "wolves", "foxes", "mice", "frogs", "snakes", "monkeys", "elephants", "tigers",
    ),
    "fruits": (
        "apples", "bananas", "oranges", "lemons", "grapes", "pears", "peaches", "cherries", "plums", "melons",
        "mangoes", "berries", "strawberries", "pineapples", "coconuts", "apricots", "figs", "dates",
    ),
    "vegetables": (
        "potatoes", "tomatoes", "carrots", "onions", "beans", "peppers", "pumpkins", "cabbages", "cucumbers",
        "mushrooms", "radishes", "leeks", "peas", "turnips", "beets", "lentils",
    ),
    "vehicles": (
        "cars", "trucks", "buses", "trains", "boats", "ships", "planes", "bikes", "bicycles", "motorcycles", "vans",
        "taxis", "tractors", "helicopters", "wagons", "scooters", "trams", "canoes",
    ),
    "tools": (
        "hammers", "saws", "knives", "drills", "screws", "nails", "axes", "shovels", "ropes", "brushes", "ladders",
        "needles", "scissors", "buckets", "screwdrivers", "wrenches", "chisels", "rakes",
    ),
    "clothes": (
        "shirts", "shoes", "hats", "socks", "coats", "jackets", "dresses", "gloves", "boots", "belts", "skirts",
        "scarves", "ties", "sweaters", "suits", "caps",
    ),
}  # fmt: skip
"""Nouns by class; no noun is in two."""
