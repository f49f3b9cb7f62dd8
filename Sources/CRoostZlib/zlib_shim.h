// zlib, for reading gzip layers as they come.
#include <zlib.h>
