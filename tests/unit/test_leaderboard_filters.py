from arithloc.leaderboard.filters import PRESETS, Facets, Filters, nearest, preset

FACETS = Facets(
    models={"toy": 3, "smollm2": 6, "qwen": 6},
    tasks={"addition": 8, "subtraction": 7},
    access={"forward": 4, "none": 1},
)


def test_junk_values_are_dropped_and_known_ones_keep_the_order_of_the_facets():
    filters = Filters.of(FACETS, ["qwen", "nonsense", "toy"], [], ["'; DROP TABLE cell"])
    assert filters == Filters(models=("toy", "qwen"))


def test_choosing_every_value_is_no_filter():
    filters = Filters.of(FACETS, list(FACETS.models), list(FACETS.tasks), list(FACETS.access))
    assert filters == Filters()
    assert not filters.active


def test_only_models_and_tasks_change_values():
    assert Filters(models=("toy",)).cells and Filters(tasks=("addition",)).cells
    hiding = Filters(access=("forward",))
    assert hiding.active and not hiding.cells


def test_cells_and_entries_are_kept_by_their_own_filters():
    filters = Filters(models=("toy",), tasks=("addition",), access=("forward",))
    assert filters.keeps_cell("toy", "addition")
    assert not filters.keeps_cell("toy", "subtraction")
    assert not filters.keeps_cell("qwen", "addition")
    assert filters.keeps_entry("forward") and not filters.keeps_entry("gradient")
    assert Filters().keeps_cell("anything", "at all") and Filters().keeps_entry("x")


def test_the_summary_spells_out_what_is_left_out():
    assert Filters().summary(FACETS, 40, 40) == "No filter is active: 40 entries."
    cut = Filters(models=("toy",), access=("forward",))
    assert cut.summary(FACETS, 12, 40) == (
        "Filtered: 1 of 3 models, 1 of 2 access levels; 12 of 40 entries shown. "
        "Values and ranks are recomputed over the kept cells."
    )
    assert "recomputed" not in Filters(access=("none",)).summary(FACETS, 1, 5)


def test_presets_are_found_by_label_and_anything_else_is_the_first():
    assert [preset(p.label) for p in PRESETS] == list(PRESETS)
    assert preset(None) is PRESETS[0] and preset("x") is PRESETS[0]
    assert [p.toys_only for p in PRESETS] == [False, False, True]


def test_near_ids_are_suggested():
    known = ["mediation-5acad80f", "path-patching-cf1e65a9", "random-ba88e95c"]
    assert nearest("mediaton-5acad80f", known)[0] == "mediation-5acad80f"
    assert nearest("\u2603", known) == []
    assert nearest("m" * 10_000, known) == []
