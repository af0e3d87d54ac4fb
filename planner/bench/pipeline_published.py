"""Published settings of pipelines: what their passes take, and the bubbles in the paper's tables.

Everything is from "Zero Bubble Pipeline Parallelism" (arXiv 2401.10241).
"""

from __future__ import annotations

from fractions import Fraction
from typing import NamedTuple

from planner.pipelining.files.costs_file import CostRow

_SEQUENCE = 1024
_MICROSECOND = Fraction(1, 10**6)


class PublishedSetting(NamedTuple):
    """One setting of a table; times are microseconds of a whole stage.

    Attributes
    ----------
    model : str
    devices, microbatches : int
    chunks : int
        The layers of a device, of which the embedding and the head count as one each: the
        published interleaved schedules have one layer per chunk.
    ticks : tuple of int
        The forward pass, the gradient of the input, the gradient of the weights.
    communication : int
        From one device to the next.
    hidden, heads : int
        Of the model: they say what activations take.
    rates : str
        Bubbles as printed, in the order of the table's columns.
    """

    model: str
    devices: int
    microbatches: int
    chunks: int
    ticks: tuple[int, int, int]
    communication: int
    hidden: int
    heads: int
    rates: str

    def published(self) -> dict[str, str]:
        """Return the rates as printed, by the name of the column."""
        columns = next(columns for columns, settings in TABLES.values() if self in settings)
        return dict(zip(columns, self.rates.split(), strict=True))

    @property
    def name(self) -> str:
        """Model, devices x microbatches."""
        return f"{self.model} {self.devices}x{self.microbatches}"

    @property
    def activation_bytes(self) -> int:
        """Of one microbatch on a stage, per token of a layer (section 2.3)."""
        return 34 * self.hidden + 5 * self.heads * _SEQUENCE

    @property
    def kept_bytes(self) -> int:
        """The part of it that the gradient of the weights needs."""
        return 32 * self.hidden

    def row(self) -> CostRow:
        """Return the costs of a whole stage."""
        return CostRow(
            *(time * _MICROSECOND for time in self.ticks),
            communication=self.communication * _MICROSECOND,
            activation_bytes=self.activation_bytes,
            kept_bytes=self.kept_bytes,
        )


COLUMNS_5 = ("1F1B", "1F1B-I", "ZB-H1", "ZB-H2", "ZB-1p", "ZB-2p")
# Costs: table 9; hidden size and heads: table 3.
TABLE_5 = tuple(
    PublishedSetting(*fields)
    for fields in (
        (
            *("1.5B", 8, 24, 3, (18522, 18086, 9337), 601, 2304, 24),
            "0.2431 0.1055 0.1585 0.1083 0.1585 0.0433",
        ),
        (
            *("1.5B", 8, 32, 3, (18513, 18086, 9331), 626, 2304, 24),
            "0.1985 0.0818 0.1242 0.0837 0.1242 0.0039",
        ),
        (
            *("1.5B", 8, 64, 3, (18546, 18097, 9321), 762, 2304, 24),
            "0.1240 0.0443 0.0674 0.0444 0.0674 0.0026",
        ),
        (
            *("6.2B", 8, 24, 4, (29718, 29444, 19927), 527, 4096, 32),
            "0.2347 0.0808 0.1323 0.0698 0.1323 0.0029",
        ),
        (
            *("6.2B", 8, 32, 4, (29802, 29428, 19530), 577, 4096, 32),
            "0.1898 0.0628 0.1045 0.0559 0.1045 0.0022",
        ),
        (
            *("6.2B", 8, 64, 4, (29935, 29621, 19388), 535, 4096, 32),
            "0.1091 0.0320 0.0554 0.0294 0.0554 0.0010",
        ),
        (
            *("14.6B", 16, 48, 3, (11347, 11248, 8132), 377, 5120, 40),
            "0.2552 0.1104 0.1397 0.0672 0.1397 0.0066",
        ),
        (
            *("14.6B", 16, 64, 3, (11307, 11254, 8101), 379, 5120, 40),
            "0.2082 0.0852 0.1088 0.0516 0.1088 0.0054",
        ),
        (
            *("14.6B", 16, 128, 3, (11325, 11308, 8109), 378, 5120, 40),
            "0.1251 0.0445 0.0576 0.0266 0.0576 0.0028",
        ),
        (
            *("28.3B", 32, 96, 2, (10419, 10207, 7715), 408, 6144, 48),
            "0.2646 0.1493 0.1421 0.0641 0.1421 0.0038",
        ),
        (
            *("28.3B", 32, 128, 2, (10408, 10204, 7703), 408, 6144, 48),
            "0.2168 0.1164 0.1106 0.0490 0.1106 0.0029",
        ),
        (
            *("28.3B", 32, 256, 2, (10402, 10248, 7698), 460, 6144, 48),
            "0.1352 0.0624 0.0594 0.0257 0.0594 0.0018",
        ),
    )
)

COLUMNS_8 = ("1F1B", "1F1B-I", "ZB-H1", "ZB-H2", "ZB-V")
# Costs: twice those of the chunks in the authors' repository.
TABLE_8 = tuple(
    PublishedSetting(*fields)
    for fields in (
        (
            *("6.2B", 16, 48, 2, (28814, 28760, 19352), 1610, 4096, 32),
            "0.2668 0.1499 0.1536 0.0823 0.0697",
        ),
        (
            *("6.2B", 16, 64, 2, (28824, 28786, 19376), 1621, 4096, 32),
            "0.2206 0.1169 0.1198 0.0630 0.0533",
        ),
        (
            *("6.2B", 16, 128, 2, (28632, 28612, 19278), 1619, 4096, 32),
            "0.1390 0.0621 0.0637 0.0325 0.0274",
        ),
        (
            *("14.6B", 24, 72, 2, (13526, 13938, 10502), 755, 5120, 40),
            "0.2699 0.1519 0.1439 0.0628 0.0638",
        ),
        (
            *("14.6B", 24, 96, 2, (13566, 13968, 10518), 758, 5120, 40),
            "0.2229 0.1184 0.1121 0.0480 0.0483",
        ),
        (
            *("14.6B", 24, 192, 2, (13570, 13980, 10520), 770, 5120, 40),
            "0.1403 0.0630 0.0595 0.0247 0.0250",
        ),
        (
            *("28.3B", 32, 96, 2, (18916, 19496, 14576), 879, 6144, 48),
            "0.2676 0.1509 0.1429 0.0629 0.0593",
        ),
        (
            *("28.3B", 32, 128, 2, (18938, 19488, 14612), 892, 6144, 48),
            "0.2204 0.1177 0.1111 0.0478 0.0451",
        ),
        (
            *("28.3B", 32, 256, 2, (18894, 19288, 14386), 887, 6144, 48),
            "0.1362 0.0626 0.0593 0.0251 0.0236",
        ),
    )
)
TABLES: dict[int, tuple[tuple[str, ...], tuple[PublishedSetting, ...]]] = {
    5: (COLUMNS_5, TABLE_5),
    8: (COLUMNS_8, TABLE_8),
}
