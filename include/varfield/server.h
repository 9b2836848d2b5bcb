#ifndef varfield_server_h
#define varfield_server_h

#include <varfield/case.h>
#include <varfield/server_settings.h>

namespace varfield
{
  /// Serves a case over HTTP by the protocol of UM-Bridge, version 1.0 (Seelinger, Reinarz, Davis, Parno 2023,
  /// UM-Bridge: uncertainty quantification and modeling bridge, Journal of Open Source Software 8, 4748), until a
  /// signal comes in.
  ///
  /// Models: “forward”, from the parameter vector to the predictions of all measurements, and “posterior”, to the log
  /// posterior density up to a constant, −Φ(m) − ½mᵀC⁻¹m. Both have Evaluate, Gradient, ApplyJacobian and ApplyHessian;
  /// Hessians are differences of exact gradients, to some seven digits. The parameter vector is that of the file
  /// checkpoint.csv, in its order; with {"coordinates": "whitened"} in the configuration of a request it is the ξ of
  /// m = Lξ, C = LLᵀ, whose prior is N(0, I), where L is square.
  ///
  /// Requests come to the first rank, one after the other, and are worked on by all. UserError where the port is taken.
  /// Collective over the world.
  template <int dim>
  void serve(const Case<dim> &problem, const ServerSettings &settings);
} // namespace varfield

#endif
