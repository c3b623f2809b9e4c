from .embeddings import EmbeddingLimits as EmbeddingLimits
from .embeddings import check_embeddings as check_embeddings
from .interactions import InteractionLimits as InteractionLimits
from .interactions import check_interactions as check_interactions
from .outcome import ContractOutcome as ContractOutcome
from .updates import UpdateLimits as UpdateLimits
from .updates import check_updates as check_updates
