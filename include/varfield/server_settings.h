#ifndef varfield_server_settings_h
#define varfield_server_settings_h

#include <string>

namespace varfield
{
  struct ServerSettings
  {
    std::string host  = "127.0.0.1"; ///< where to listen: by itself for programs on this computer only
    unsigned int port = 4242;        ///< 0: any that is free
  };
} // namespace varfield

#endif
