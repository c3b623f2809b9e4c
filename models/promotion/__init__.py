"""Promotion: the gates, the decision, the stack of champions and the judgement of a live champion."""
