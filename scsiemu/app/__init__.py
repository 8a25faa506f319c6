"""scsiemu/app"""
