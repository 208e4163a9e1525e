"""Synergy: tile jobs on NEON and FPGA engines, clusters, a layer pipeline and work stealing on a Zynq."""
