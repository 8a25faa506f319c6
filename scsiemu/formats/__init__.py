"""scsiemu/formats"""
