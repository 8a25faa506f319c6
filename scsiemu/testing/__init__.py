"""scsiemu/testing"""
