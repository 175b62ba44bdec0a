"""From a registration to the name of the model."""

from components.register.step import register_model
from components.shared.doors import door

run_register = door(register_model)
