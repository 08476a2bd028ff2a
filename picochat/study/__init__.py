"""Which lane of a mixture caused what. In: runs with and without each lane. Out: effects of lanes on lanes.

design ─► (runs) ─► effects            arms that tell all lanes apart at once ─► on - off with intervals
"""

from picochat.study.study import Study

__all__ = ["Study"]
