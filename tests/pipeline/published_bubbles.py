"""Published bubble rates: "Zero Bubble Pipeline Parallelism" (arXiv 2401.10241)."""

from __future__ import annotations

from typing import NamedTuple

from planner.pipelining.placements import looped_placement
from planner.pipelining.problem import PipelineProblem, StageCosts

SEQUENCE = 1024


class Row(NamedTuple):
    """One setting; times are microseconds of a whole stage.

    ``chunks`` are the layers of a device, of which the embedding and the head count as one each:
    the published interleaved schedules have one layer per chunk. ``rates`` are those of 1F1B,
    1F1B-I, ZB-H1 and ZB-H2, and in table 5 of ZB-1p and ZB-2p.
    """

    devices: int
    microbatches: int
    chunks: int
    ticks: tuple[int, int, int]
    communication: int
    hidden: int
    heads: int
    rates: str

    @property
    def activation_bytes(self) -> int:
        """Of one microbatch on a stage, per token of a layer (2401.10241, section 2.3)."""
        return 34 * self.hidden + 5 * self.heads * SEQUENCE

    def published(self, name: str) -> str:
        """Return the rate of one schedule, as printed."""
        names = ("1F1B", "1F1B-I", "ZB-H1", "ZB-H2", "ZB-1p", "ZB-2p")
        return self.rates.split()[names.index(name)]

    def problem(self, limit: int | None = None) -> PipelineProblem:
        """Return the problem with one chunk per device, with so many activations at most."""
        stage = StageCosts(*self.ticks, self.activation_bytes, 32 * self.hidden, self.communication)
        most = None if limit is None else limit * self.activation_bytes
        return PipelineProblem(
            (stage,) * self.devices,
            tuple(range(self.devices)),
            self.microbatches,
            (most,) * self.devices,
        )

    def interleaved(self) -> PipelineProblem:
        """Return the problem with several chunks; a tick is a microsecond's part per chunk."""
        stage = StageCosts(*self.ticks, 1, 0, self.communication * self.chunks)
        return PipelineProblem(
            (stage,) * (self.devices * self.chunks),
            looped_placement(self.devices, self.chunks),
            self.microbatches,
            (None,) * self.devices,
        )


TABLE_5 = (
    # Costs: table 9; hidden size and heads: table 3.
    Row(8, 24, 3, (18522, 18086, 9337), 601, 2304, 24, "0.2431 0.1055 0.1585 0.1083 0.1585 0.0433"),
    Row(8, 32, 3, (18513, 18086, 9331), 626, 2304, 24, "0.1985 0.0818 0.1242 0.0837 0.1242 0.0039"),
    Row(8, 64, 3, (18546, 18097, 9321), 762, 2304, 24, "0.1240 0.0443 0.0674 0.0444 0.0674 0.0026"),
    Row(
        8, 24, 4, (29718, 29444, 19927), 527, 4096, 32, "0.2347 0.0808 0.1323 0.0698 0.1323 0.0029"
    ),
    Row(
        8, 32, 4, (29802, 29428, 19530), 577, 4096, 32, "0.1898 0.0628 0.1045 0.0559 0.1045 0.0022"
    ),
    Row(
        8, 64, 4, (29935, 29621, 19388), 535, 4096, 32, "0.1091 0.0320 0.0554 0.0294 0.0554 0.0010"
    ),
    Row(
        16, 48, 3, (11347, 11248, 8132), 377, 5120, 40, "0.2552 0.1104 0.1397 0.0672 0.1397 0.0066"
    ),
    Row(
        16, 64, 3, (11307, 11254, 8101), 379, 5120, 40, "0.2082 0.0852 0.1088 0.0516 0.1088 0.0054"
    ),
    Row(
        16, 128, 3, (11325, 11308, 8109), 378, 5120, 40, "0.1251 0.0445 0.0576 0.0266 0.0576 0.0028"
    ),
    Row(
        32, 96, 2, (10419, 10207, 7715), 408, 6144, 48, "0.2646 0.1493 0.1421 0.0641 0.1421 0.0038"
    ),
    Row(
        32, 128, 2, (10408, 10204, 7703), 408, 6144, 48, "0.2168 0.1164 0.1106 0.0490 0.1106 0.0029"
    ),
    Row(
        32, 256, 2, (10402, 10248, 7698), 460, 6144, 48, "0.1352 0.0624 0.0594 0.0257 0.0594 0.0018"
    ),
)
TABLE_8 = (
    # Costs: twice those of the chunks in the authors' repository.
    Row(16, 48, 2, (28814, 28760, 19352), 1610, 4096, 32, "0.2668 0.1499 0.1536 0.0823"),
    Row(16, 64, 2, (28824, 28786, 19376), 1621, 4096, 32, "0.2206 0.1169 0.1198 0.0630"),
    Row(16, 128, 2, (28632, 28612, 19278), 1619, 4096, 32, "0.1390 0.0621 0.0637 0.0325"),
    Row(24, 72, 2, (13526, 13938, 10502), 755, 5120, 40, "0.2699 0.1519 0.1439 0.0628"),
    Row(24, 96, 2, (13566, 13968, 10518), 758, 5120, 40, "0.2229 0.1184 0.1121 0.0480"),
    Row(24, 192, 2, (13570, 13980, 10520), 770, 5120, 40, "0.1403 0.0630 0.0595 0.0247"),
    Row(32, 96, 2, (18916, 19496, 14576), 879, 6144, 48, "0.2676 0.1509 0.1429 0.0629"),
    Row(32, 128, 2, (18938, 19488, 14612), 892, 6144, 48, "0.2204 0.1177 0.1111 0.0478"),
    Row(32, 256, 2, (18894, 19288, 14386), 887, 6144, 48, "0.1362 0.0626 0.0593 0.0251"),
)
