// What tests do on an event loop that another thread runs.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <future>

namespace octet::router {

// Runs a step on the loop's thread and waits for it.
template <typename Step>
void run_on_loop(boost::asio::io_context& loop, Step step) {
  std::promise<void> done;
  boost::asio::post(loop, [&] {
    step();
    done.set_value();
  });
  done.get_future().wait();
}

}  // namespace octet::router
