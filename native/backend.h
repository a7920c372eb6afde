// jlocal's backend for ggml: products with packed weights, and attention.
#pragma once
#include "abi.h"
#include "family.h"

namespace jlocal {

// The configuration of models and contexts that are made from now on.
struct Settings {
    const Family* family;  // for weights; nullptr for none
    bool attention;
    bool capture;  // of hidden states; contexts then never compute the head
    int packing_threads;
};
void configure(const Settings& settings);

ggml::Registry* registry();

}  // namespace jlocal
