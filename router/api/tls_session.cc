#include "router/api/tls_session.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/ssl.h>

#include <algorithm>
#include <array>

#include "absl/strings/str_cat.h"
#include "base/check.h"

namespace octet {
namespace {

// A record holds at most so much; OpenSSL's buffers stay as large as what was put into them at once.
constexpr size_t kChunkBytes = 16 << 10;

}  // namespace

void TlsSession::FreeSsl::operator()(SSL* ssl) const {
  SSL_free(ssl);
}

TlsSession::TlsSession(std::shared_ptr<const TlsContents> contents)
    : contents_(std::move(contents)), ssl_(SSL_new(contents_->server.get())) {
  from_peer_ = BIO_new(BIO_s_mem());
  to_peer_ = BIO_new(BIO_s_mem());
  OCTET_CHECK(ssl_ != nullptr && from_peer_ != nullptr && to_peer_ != nullptr, "OpenSSL has no memory");
  SSL_set_bio(ssl_.get(), from_peer_, to_peer_);
  SSL_set_accept_state(ssl_.get());
}

TlsSession::~TlsSession() = default;

absl::Status TlsSession::receive(std::string_view from_peer, std::string& plaintext, std::string& output) {
  ERR_clear_error();
  std::array<char, kChunkBytes> buffer;
  while (!from_peer.empty()) {
    const std::string_view chunk = from_peer.substr(0, kChunkBytes);
    from_peer.remove_prefix(chunk.size());
    BIO_write(from_peer_, chunk.data(), static_cast<int>(chunk.size()));
    int num_read = 0;
    while ((num_read = SSL_read(ssl_.get(), buffer.data(), buffer.size())) > 0) {
      plaintext.append(buffer.data(), static_cast<size_t>(num_read));
    }
    const int error = SSL_get_error(ssl_.get(), num_read);
    take_output(output);
    if (error == SSL_ERROR_ZERO_RETURN) {
      peer_closed_ = true;
      return absl::OkStatus();
    }
    if (error == SSL_ERROR_WANT_READ) continue;
    const char* reason = ERR_reason_error_string(ERR_peek_error());
    ERR_clear_error();
    return absl::UnavailableError(absl::StrCat("tls: ", reason != nullptr ? reason : "broken"));
  }
  return absl::OkStatus();
}

absl::Status TlsSession::send(std::string_view plaintext, std::string& output) {
  ERR_clear_error();
  while (!plaintext.empty()) {
    const std::string_view chunk = plaintext.substr(0, kChunkBytes);
    plaintext.remove_prefix(chunk.size());
    // Into memory, so it does not wait; but it goes on with a handshake that the peer has not finished.
    if (SSL_write(ssl_.get(), chunk.data(), static_cast<int>(chunk.size())) <= 0) {
      ERR_clear_error();
      return absl::UnavailableError("tls: cannot send");
    }
    take_output(output);
  }
  return absl::OkStatus();
}

void TlsSession::close(std::string& output) {
  if (!established()) return;
  SSL_shutdown(ssl_.get());
  ERR_clear_error();
  take_output(output);
}

bool TlsSession::established() const {
  return SSL_is_init_finished(ssl_.get()) == 1;
}

void TlsSession::take_output(std::string& output) {
  std::array<char, kChunkBytes> buffer;
  int num_read = 0;
  while ((num_read = BIO_read(to_peer_, buffer.data(), buffer.size())) > 0) {
    output.append(buffer.data(), static_cast<size_t>(num_read));
  }
}

}  // namespace octet
