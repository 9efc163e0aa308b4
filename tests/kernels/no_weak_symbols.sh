#!/bin/sh
# no_weak_symbols.sh OBJECT...: fails where an object that is compiled for a wider instruction set than the rest
# of the program defines a symbol that the linker could choose for the rest too (see kernels/cpu/cpu_kernels.h).
set -eu
weak=$(nm --defined-only -C -A "$@" | grep -E ' [WVu] ' || true)
if [ -n "$weak" ]; then
  echo "weak symbols in objects of a special instruction set:"
  echo "$weak"
  exit 1
fi
