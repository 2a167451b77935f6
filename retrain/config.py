"""The tables of `proctord.toml` that the retraining program reads."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, ConfigDict, Field, ValidationInfo

from retrain.order import TrainSettings
from schemas.settings import FilePath, ProgramSettings, Section, beside, table_of


class RegistrySettings(Section):
    """`[registry]`: where students and the runs that made them are kept."""

    #: a directory on one file system: `artefacts/`, `runs/` and `champion.json` stand in it
    root: FilePath = Path("registry")


#: `[retrain.teaching]`: how a student is taught; `retrain.order` describes its keys
TeachingTable = Annotated[TrainSettings, table_of(TrainSettings, paths=("base",), but="scratch")]


def _interpreter(path: Path, info: ValidationInfo) -> Path:
    return path if len(path.parts) == 1 else beside(path, info)


class RetrainTable(Section):
    """`[retrain]`: when the loop looks, and what a training child may use."""

    model_config = ConfigDict(arbitrary_types_allowed=True)  # the teaching is a msgspec type

    #: names the task of this student; one champion a lane
    lane: str = Field(default="default", pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")
    #: seed of every random choice of a run
    seed: int = 0
    #: CPU threads of the training child
    threads: int = Field(default=2, ge=1)
    #: interpreter of the training child: one that has the `train` extra; a name alone is looked
    #: up in $PATH
    python: Annotated[Path, AfterValidator(_interpreter)] = Path(sys.executable)
    #: seconds between two looks at the situation
    tick_seconds: float = Field(default=5.0, gt=0)
    #: a run without a verdict after this has failed, or is rejected as inconclusive, seconds
    deadline_seconds: float = Field(default=24 * 3600.0, gt=0)
    #: labels no older than this before the newest one are recent traffic, days
    recent_days: float = Field(default=30.0, gt=0)
    #: random labels of a new champion during which proctord may roll it back by itself
    probation_labels: int = Field(default=2000, ge=0)
    teaching: TeachingTable = TrainSettings()


class RetrainSettings(ProgramSettings):
    """What the retraining program reads: `[journal]`, `[contract]`, `[registry]`, `[retrain]`."""

    registry: RegistrySettings = RegistrySettings()
    retrain: RetrainTable = RetrainTable()
