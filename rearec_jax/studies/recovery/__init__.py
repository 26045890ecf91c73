"""How much of a method's gain a plain model recovers with what the method got besides thinking."""
