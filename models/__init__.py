"""Networks and what they are made of: layers, training, data, checkpoints. Plain PyTorch; knows nothing of bounds."""
