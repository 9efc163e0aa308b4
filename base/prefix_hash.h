// The 64-bit name of a prompt's beginning, block by block: what a lead calls the content of its KV cache's
// blocks and a router computes from the same tokens. Part of the wire (PrefixDigest in
// proto/octet/v1/pipeline.proto): never change it without another field. A name is a hint; whoever reuses a
// block compares the tokens themselves.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

namespace octet {

// Names what comes before the first block. Prefixes of different salts have different names.
uint64_t prefix_root(std::string_view salt);
// Names the prefix that `parent` names, followed by one block of tokens.
uint64_t prefix_hash(uint64_t parent, std::span<const uint32_t> block);

// [tokens.size() / block_size]: entry i names the first i + 1 blocks. Tokens after the last full block have
// no name. Requires block_size > 0.
std::vector<uint64_t> prefix_hashes(std::string_view salt, std::span<const uint32_t> tokens,
                                    uint32_t block_size);

}  // namespace octet
