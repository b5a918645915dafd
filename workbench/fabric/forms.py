"""Files of measured rows that fabrics are scored on, by kind."""

from workbench.fabric import dispatch, losses, measured

FORMS = {"collectives": (measured.FORM, dispatch.FORM), "goodput": losses.FORMS}
