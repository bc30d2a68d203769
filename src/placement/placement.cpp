#include "placement/schema.h"
