from rearec_jax import config


def get_config():
    options = config.default()
    options.model.width = 64
    options.train.epochs = 30
    options.train.patience = 5
    return options
