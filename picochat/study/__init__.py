"""Which lane of a mixture caused what. In: a study file. Out: effects of lanes on lanes, with intervals.

settings ─► design ─► arms ─► runner ─► results ─► effects ─► report        study holds them together
"""

from picochat.study.study import Study, report_table

__all__ = ["Study", "report_table"]
