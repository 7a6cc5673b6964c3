"""Admission: from the bytes of a dropped file to a plan, or to a rejection that names every fault and its fix."""
