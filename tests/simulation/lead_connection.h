// A router's two streams to a lead over the virtual network, in place of gRPC.
#pragma once

#include "router/routing/lead_connection.h"

namespace octet::simulation {

router::ConnectToLead connect_by_network();

}  // namespace octet::simulation
