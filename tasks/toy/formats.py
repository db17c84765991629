"""Text format of the toy models: vocabulary, token positions and their classes, tokenizer files.

A question is `[<bos>] x_(n-1)..x_0 op y_(n-1)..y_0 = sign a_n..a_0`: both operands padded to n digits, the answer with
n + 1 digits, index 0 the units. A model reads all tokens but the last. Ids 0..14 are those of the published models of
Quirke and Barez (arXiv:2310.13121, arXiv:2402.02619).
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from arithloc.benchmark.api import TokenizerMismatch
from arithloc.benchmark.api.errors import quoted

VOCAB = (*"0123456789", "+", "-", "=", "*", "/", "<bos>")
IDS = {token: i for i, token in enumerate(VOCAB)}
PLUS, MINUS, EQUALS, BOS = IDS["+"], IDS["-"], IDS["="], IDS["<bos>"]
MAX_DIGITS = 10


@dataclass(frozen=True)
class Format:
    """How one model's questions look.

    Attributes:
        n_digits: digits of an operand, 1..10.
        operators: `+`, `-` or `+-`.
        bos: whether a question begins with `<bos>`.
    """

    n_digits: int
    operators: str
    bos: bool

    def __post_init__(self) -> None:
        if not 1 <= self.n_digits <= MAX_DIGITS or self.operators not in ("+", "-", "+-"):
            raise ValueError(
                f"Expected 1 to {MAX_DIGITS} digits and operators '+', '-' or '+-', found {self.n_digits} and "
                f"{quoted(self.operators)}."
            )

    @property
    def n_inputs(self) -> int:
        """Tokens that the model reads: all but the last answer digit."""
        return 3 * self.n_digits + 3 + self.bos

    @cached_property
    def classes(self) -> tuple[str, ...]:
        """Position class of each input token: `bos`, `x1`, `x0`, `op`, `y1`, `y0`, `eq`, `sign`, `a2`, `a1` for n = 2."""
        down = range(self.n_digits - 1, -1, -1)
        return (
            *(("bos",) if self.bos else ()),
            *(f"x{j}" for j in down),
            "op",
            *(f"y{j}" for j in down),
            "eq",
            "sign",
            *(f"a{i}" for i in range(self.n_digits, 0, -1)),
        )

    def index(self, cls: str) -> int:
        """Input position of a class."""
        return self.classes.index(cls)

    def predictor(self, column: int) -> str:
        """Class of the position that predicts answer digit `column`: `sign` for the highest, else `a{column+1}`."""
        return "sign" if column == self.n_digits else f"a{column + 1}"

    @cached_property
    def scored(self) -> tuple[str, ...]:
        """Classes of the scored positions in order: `eq` predicts the sign, the others the digits from the top."""
        return ("eq", *(self.predictor(i) for i in range(self.n_digits, -1, -1)))

    @classmethod
    def of_tokenizer(cls, tokenizer: Any) -> "Format":
        """Reads the format that a toy model's tokenizer states.

        Raises:
            TokenizerMismatch: the tokenizer of another model.
        """
        stated = getattr(tokenizer, "init_kwargs", {})
        if any(key not in stated for key in ("n_digits", "operators", "bos")) or len(tokenizer) != len(VOCAB):
            raise TokenizerMismatch(
                "Expected the tokenizer of a toy arithmetic model, which states n_digits, operators and bos; found "
                f"{quoted(getattr(tokenizer, 'name_or_path', '') or type(tokenizer).__name__)}. Use a toy-* model."
            )
        return cls(int(stated["n_digits"]), str(stated["operators"]), bool(stated["bos"]))


def encode(text: str) -> tuple[int, ...]:
    """Token ids of a text in which every character is a token.

    Raises:
        TokenizerMismatch: a character outside the vocabulary.
    """
    for character in text:
        if character not in IDS:
            raise TokenizerMismatch(
                f"Expected the characters {''.join(VOCAB[:-1])!r}, found {quoted(character)} in {quoted(text)}. "
                "Write digits and operators without spaces."
            )
    return tuple(IDS[character] for character in text)


def tokenizer_documents(form: Format) -> dict[str, dict[str, Any]]:
    """Contents of `tokenizer.json` and `tokenizer_config.json`.

    One character is one token; an unknown character is an error, because no token stands for it. `<bos>` is put in
    front where the model was built with it.
    """
    bos = {"SpecialToken": {"id": "<bos>", "type_id": 0}}
    question = {"Sequence": {"id": "A", "type_id": 0}}
    template = {
        "type": "TemplateProcessing",
        "single": [bos, question],
        "pair": [bos, question, {"Sequence": {"id": "B", "type_id": 0}}],
        "special_tokens": {"<bos>": {"id": "<bos>", "ids": [BOS], "tokens": ["<bos>"]}},
    }
    added = {
        "id": BOS,
        "content": "<bos>",
        "single_word": False,
        "lstrip": False,
        "rstrip": False,
        "normalized": False,
        "special": True,
    }
    return {
        "tokenizer.json": {
            "version": "1.0",
            "truncation": None,
            "padding": None,
            "added_tokens": [added],
            "normalizer": None,
            "pre_tokenizer": {"type": "Split", "pattern": {"Regex": "."}, "behavior": "Isolated", "invert": False},
            "post_processor": template if form.bos else None,
            "decoder": {"type": "Fuse"},
            "model": {"type": "WordLevel", "vocab": dict(IDS), "unk_token": "<unk>"},
        },
        "tokenizer_config.json": {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "bos_token": "<bos>",
            "eos_token": "<bos>",
            "clean_up_tokenization_spaces": False,
            "model_max_length": form.n_inputs + 1,
            "n_digits": form.n_digits,
            "operators": form.operators,
            "bos": form.bos,
        },
    }
