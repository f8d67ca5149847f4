"""One step's maths: terms, views, and the distiller that combines them."""
