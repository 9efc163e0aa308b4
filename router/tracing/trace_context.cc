#include "router/tracing/trace_context.h"

#include <algorithm>
#include <cstring>

#include "router/request/random_bits.h"

namespace octet::router {
namespace {

// "00-" trace id "-" span id "-" flags
constexpr size_t kTraceIdAt = 3;
constexpr size_t kSpanIdAt = 36;
constexpr size_t kFlagsAt = 53;
constexpr size_t kTraceparentBytes = 55;
constexpr uint8_t kSampledFlag = 1;

constexpr size_t kMaxStateEntries = 32;
constexpr size_t kMaxStateBytes = 512;
constexpr size_t kMaxKeyBytes = 256;
constexpr size_t kMaxValueBytes = 256;

constexpr std::string_view kHexDigits = "0123456789abcdef";

// Reads 2 * out.size() digits, lower case only.
bool read_hex(std::string_view digits, std::span<uint8_t> out) {
  for (size_t i = 0; i < out.size(); ++i) {
    const size_t high = kHexDigits.find(digits[2 * i]);
    const size_t low = kHexDigits.find(digits[2 * i + 1]);
    if (high == std::string_view::npos || low == std::string_view::npos) return false;
    out[i] = static_cast<uint8_t>(high * 16 + low);
  }
  return true;
}

bool all_zero(std::span<const uint8_t> bytes) {
  return std::all_of(bytes.begin(), bytes.end(), [](uint8_t byte) { return byte == 0; });
}

bool is_key(std::string_view key) {
  const auto is_letter_or_digit = [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'); };
  return !key.empty() && key.size() <= kMaxKeyBytes && is_letter_or_digit(key[0]) &&
         std::all_of(key.begin(), key.end(), [&](char c) {
           return is_letter_or_digit(c) || std::string_view("_-*/@").find(c) != std::string_view::npos;
         });
}

bool is_value(std::string_view value) {
  return !value.empty() && value.size() <= kMaxValueBytes && value.back() != ' ' &&
         std::all_of(value.begin(), value.end(),
                     [](char c) { return c >= ' ' && c <= '~' && c != ',' && c != '='; });
}

std::string_view trimmed(std::string_view text) {
  const size_t first = text.find_first_not_of(" \t");
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(" \t") - first + 1);
}

// The state's entries as they go on; empty when one of them is none.
std::string checked_state(std::string_view state) {
  std::string kept;
  size_t num_entries = 0;
  bool has_room = true;
  while (!state.empty()) {
    const size_t comma = std::min(state.find(','), state.size());
    const std::string_view entry = trimmed(state.substr(0, comma));
    state.remove_prefix(std::min(comma + 1, state.size()));
    if (entry.empty()) continue;
    const size_t equals = entry.find('=');
    if (equals == std::string_view::npos || !is_key(entry.substr(0, equals)) ||
        !is_value(entry.substr(equals + 1)) || ++num_entries > kMaxStateEntries) {
      return "";
    }
    has_room = has_room && kept.size() + entry.size() + 1 <= kMaxStateBytes;
    if (!has_room) continue;
    if (!kept.empty()) kept += ',';
    kept += entry;
  }
  return kept;
}

// Random and not all zero.
template <typename Id>
Id random_id() {
  Id id{};
  while (all_zero(id)) {
    for (size_t i = 0; i < id.size(); i += sizeof(uint64_t)) {
      const uint64_t bits = random_bits();
      std::memcpy(id.data() + i, &bits, sizeof(bits));
    }
  }
  return id;
}

}  // namespace

std::optional<TraceContext> parse_trace_context(std::string_view traceparent, std::string_view tracestate) {
  if (traceparent.size() < kTraceparentBytes) return std::nullopt;
  std::array<uint8_t, 1> version{};
  std::array<uint8_t, 1> flags{};
  TraceContext context;
  const bool separated = traceparent[kTraceIdAt - 1] == '-' && traceparent[kSpanIdAt - 1] == '-' &&
                         traceparent[kFlagsAt - 1] == '-';
  if (!separated || !read_hex(traceparent, version) ||
      !read_hex(traceparent.substr(kTraceIdAt), context.trace_id) ||
      !read_hex(traceparent.substr(kSpanIdAt), context.span_id) ||
      !read_hex(traceparent.substr(kFlagsAt), flags)) {
    return std::nullopt;
  }
  const bool is_longer = traceparent.size() > kTraceparentBytes;
  const bool is_later_version = version[0] != 0 && version[0] != 0xFF;
  if (version[0] == 0xFF || (is_longer && (!is_later_version || traceparent[kTraceparentBytes] != '-')))
    return std::nullopt;
  if (all_zero(context.trace_id) || all_zero(context.span_id)) return std::nullopt;
  context.sampled = (flags[0] & kSampledFlag) != 0;
  context.state = checked_state(tracestate);
  return context;
}

std::string traceparent_of(const TraceContext& context) {
  return "00-" + hex(context.trace_id) + "-" + hex(context.span_id) + (context.sampled ? "-01" : "-00");
}

bool is_sampled(const TraceId& trace_id, double sample_ratio) {
  // 56 bits of the id are random in every version of the specification: its last 7 bytes.
  constexpr double kRange = 0x1p56;
  uint64_t drawn = 0;
  for (const uint8_t byte : std::span(trace_id).last(7)) drawn = drawn << 8 | byte;
  return static_cast<double>(drawn) < sample_ratio * kRange;
}

TraceContext make_span(const std::optional<TraceContext>& parent, double sample_ratio) {
  TraceContext span;
  if (parent) {
    span = *parent;
  } else {
    span.trace_id = random_id<TraceId>();
    span.sampled = is_sampled(span.trace_id, sample_ratio);
  }
  span.span_id = random_span_id();
  return span;
}

SpanId random_span_id() {
  return random_id<SpanId>();
}

std::string hex(std::span<const uint8_t> bytes) {
  std::string digits;
  digits.reserve(2 * bytes.size());
  for (const uint8_t byte : bytes) {
    digits += kHexDigits[byte >> 4];
    digits += kHexDigits[byte & 0xF];
  }
  return digits;
}

}  // namespace octet::router
