// The server's half of one TLS connection, without the connection: bytes in, bytes out. Knows nothing of
// sockets or time.
#pragma once

#include <openssl/types.h>

#include <memory>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "base/credentials.h"

namespace octet {

// All output is appended and must reach the peer in the order in which it was made.
class TlsSession {
 public:
  explicit TlsSession(std::shared_ptr<const TlsContents> contents);
  ~TlsSession();
  TlsSession(const TlsSession&) = delete;
  TlsSession& operator=(const TlsSession&) = delete;

  // Takes what the peer sent: what it says goes to plaintext, what TLS answers (handshake, alerts) to output.
  // Errors: UNAVAILABLE, in words for a log line; the session is of no more use then, but the output may hold
  // an alert for the peer.
  absl::Status receive(std::string_view from_peer, std::string& plaintext, std::string& output);
  // Encrypts. Errors: UNAVAILABLE when the session cannot send, during the handshake or after a failure.
  absl::Status send(std::string_view plaintext, std::string& output);
  // Says that nothing more will be sent, so that the peer can tell the end from a cut.
  void close(std::string& output);

  bool established() const;
  // The peer has said that it will send nothing more.
  bool peer_closed() const { return peer_closed_; }

 private:
  struct FreeSsl {
    void operator()(SSL* ssl) const;
  };
  void take_output(std::string& output);

  const std::shared_ptr<const TlsContents> contents_;
  const std::unique_ptr<SSL, FreeSsl> ssl_;  // owns both BIOs
  BIO* from_peer_ = nullptr;
  BIO* to_peer_ = nullptr;
  bool peer_closed_ = false;
};

}  // namespace octet
