// The secret of an epoch's links: the lead makes it and hands it to the stages, which prove to each other
// that they have it before activations flow. Activations themselves are not encrypted.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

namespace octet::worker {

using LinkKey = std::array<std::byte, 32>;
using LinkProof = std::array<std::byte, 32>;

// Random, from the system.
LinkKey make_link_key();

// HMAC-SHA256 of the bytes: only who has the key can make it, and it does not tell the key.
LinkProof prove(const LinkKey& key, std::span<const std::byte> bytes);
// In a time that does not depend on where they differ.
bool equal(const LinkProof& a, const LinkProof& b);

}  // namespace octet::worker
