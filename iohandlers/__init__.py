"""iohandlers"""
