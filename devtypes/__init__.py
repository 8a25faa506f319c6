"""devtypes"""
