//! Sections of a unified kernel image (UAPI Group, "Unified Kernel Image").
