"""Files of measured rows that what a chip does is scored on, by kind."""

from workbench.chips import gemm
from workbench.chips.serving import measured as serving
from workbench.chips.training import fit as training
from workbench.chips.training import runs

FORMS = {**serving.FORMS, **training.FORMS, **gemm.FORMS, **runs.FORMS}
