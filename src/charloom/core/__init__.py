"""The core: networks, gradients, training, gradient check and sampling in NumPy. It knows no file and no key."""
