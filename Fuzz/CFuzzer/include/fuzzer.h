#ifndef ROOST_FUZZER_H
#define ROOST_FUZZER_H

#include <stddef.h>
#include <stdint.h>

// Runs libFuzzer with the arguments of a command line; see clang's fuzzer/FuzzerInterface.h.
int LLVMFuzzerRunDriver(int *argc, char ***argv,
                        int (*callback)(const uint8_t *data, size_t size));

#endif
