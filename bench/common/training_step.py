"""Make a training step (forward, cross-entropy, backward, SGD with momentum) of tinyq and of PyTorch."""
from tinyq import kernels, nn, optim
from tinyq.autodiff import Tensor

LR, MOMENTUM = 0.01, 0.9


def tinyq_step(model, x, y, threads):
    """Make a function that trains the model once on x, y and returns the loss."""
    kernels.set_threads(threads)
    optimizer = optim.SGD(model.parameters(), lr=LR, momentum=MOMENTUM)

    def step():
        optimizer.zero_grad()
        loss = nn.cross_entropy(model(Tensor(x)), y)
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


def torch_step(model, x, y, threads):
    """Make the same function for a PyTorch model; x, y are NumPy arrays or, for another layout, tensors."""
    import torch

    torch.set_num_threads(threads)
    x, y = torch.as_tensor(x), torch.as_tensor(y)
    optimizer = torch.optim.SGD(model.parameters(), lr=LR, momentum=MOMENTUM)

    def step():
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        return loss.item()

    return step
