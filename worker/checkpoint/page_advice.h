// Tells the system what becomes of parts of a mapped file. Advice that it does not take costs time, not
// correctness.
#pragma once

#include <cstddef>
#include <span>

namespace octet::worker {

// Starts to read what is not in memory yet; does not wait for it.
void read_ahead(std::span<const std::byte> mapped);

// Reads all of it, and maps its pages so that a later access takes no page fault (before Linux 5.14: only
// starts to read).
void populate(std::span<const std::byte> mapped);

// Takes the pages that lie wholly inside out of this process's memory. A later access reads them again. Not
// for memory that was written to.
void drop_pages(std::span<const std::byte> mapped);

}  // namespace octet::worker
