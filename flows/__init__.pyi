from .local import train_locally as train_locally
from .promote import promotion as promotion
from .settings.training_config import TrainingConfig as TrainingConfig
from .settings.training_config import load_config as load_config
from .settings.training_config import parse_config as parse_config
from .train import federated_training as federated_training
