"""Tests of the simulator, through its HTTP interface and its books."""
