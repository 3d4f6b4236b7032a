"""The routes of our own, by what they are about. Each module has its `ENDPOINTS`."""
