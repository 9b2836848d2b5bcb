#ifndef varfield_electrodes_h
#define varfield_electrodes_h

#include <varfield/assembly.h>
#include <varfield/state_space.h>
#include <varfield/table.h>

namespace varfield
{
  /// The complete electrode model (E. Somersalo, M. Cheney, D. Isaacson, SIAM J. Appl. Math. 52 (1992) 1023): on
  /// electrode l, the boundary E_l, u + z_l k ∂u/∂n = U_l, ∫ k ∂u/∂n ds = I_l. The potentials U_l are eliminated: with
  /// c_l = ∫ φᵢ ds / z_l over E_l and D_l = |E_l|/z_l, U_l = (I_l + c_lᵀu)/D_l, the state matrix has the Robin terms of
  /// all electrodes and −Σ c_l c_lᵀ/D_l, the load Σ c_l I_l/D_l. The first electrode is grounded, U₁ = 0: it has no
  /// such terms. Currents are positive into the body.
  class ElectrodeSettings
  {
  public:
    void add_parameters(dealii::ParameterHandler &prm);
    bool are_there() const { return !trim(boundaries_).empty(); }
    /// Reads the currents. Collective; UserError.
    void read(MPI_Comm comm);
    /// The experiments in the table of currents, in the order in which they come.
    const std::vector<std::string> &experiments() const { return experiments_; }
    const std::vector<std::string> &names() const { return names_; }
    /// Of an experiment, by electrode.
    const std::vector<double> &currents(unsigned int experiment) const { return currents_[experiment]; }
    double impedance(unsigned int electrode) const { return impedances_[impedances_.size() == 1 ? 0 : electrode]; }

  private:
    std::string boundaries_, currents_file_, impedances_text_ = "0.01";
    double scale_ = 1.;
    std::vector<std::string> names_, experiments_;
    std::vector<double> impedances_;
    std::vector<std::vector<double>> currents_;
  };

  /// Electrodes on a mesh.
  template <int dim>
  class Electrodes
  {
  public:
    /// Collective; UserError.
    Electrodes(const ElectrodeSettings &settings, const StateSpace<dim> &space);

    /// “boundary: 1/z, 0”: the Robin conditions.
    std::string robin() const;
    /// Pairs of degrees of freedom that the state matrix couples beyond those of common cells, of owned rows.
    std::vector<std::pair<dealii::types::global_dof_index, dealii::types::global_dof_index>> couplings() const;
    /// Adds `factor` times −Σ c cᵀ/D to the matrix, before it is compressed.
    void add_to(SparseMatrix &matrix, double factor) const;
    /// The same applied to a state, added to a block of owned entries. Collective.
    void add_product(const Vector &state, Vector &sum) const;
    /// Adds the load of an experiment.
    void add_load(unsigned int experiment, Eigen::Ref<Vector> load) const;
    /// U_a − U_b of two electrodes (by name) as functional and constant; `b` empty: U_a less the mean of all
    /// electrodes. UserError that begins with `origin`.
    std::pair<Functional, double> voltage(const std::string &a, const std::string &b, unsigned int experiment,
                                          const std::string &origin) const;

  private:
    unsigned int find(const std::string &name, const std::string &origin) const;

    const ElectrodeSettings &settings_;
    const StateSpace<dim> &space_;
    std::vector<Functional> c_;
    std::vector<double> d_;
  };
} // namespace varfield

#endif
