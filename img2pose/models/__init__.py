"""The network: torchvision's Faster R-CNN with a 6DoF pose head in place of box regression."""
