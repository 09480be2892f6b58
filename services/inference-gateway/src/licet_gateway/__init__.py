"""The data plane in front of Triton: authenticate, lease, proxy, meter, log, receipt."""
