from rearec_jax import config


def get_config():
    options = config.default()
    options.data.name = "beauty"
    options.data.source = "sequences"
    options.model.width = 64
    options.train.patience = 5
    return options
