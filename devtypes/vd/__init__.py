"""devtypes/vd"""
