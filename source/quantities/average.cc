#include <deal.II/base/quadrature_lib.h>
#include <deal.II/fe/fe_values.h>

#include <set>
#include <varfield/quantity.h>
#include <varfield/text.h>

namespace varfield
{
  using namespace dealii;

  namespace
  {
    /// (1/|Ω'|) ∫_Ω' k dx over a part Ω' of the mesh, or the integral itself, by quadrature. Cells that a box cuts
    /// count with those of 8 points in each direction that are inside.
    template <int dim>
    class Average : public Quantity<dim>
    {
    public:
      void add_parameters(ParameterHandler &prm) override
      {
        source_.add_parameters(prm);
        prm.add_parameter("Box", box_,
                          "Two corners, as in “0,0; 1,2”: the part of the mesh in between. Empty: all of it.");
        prm.add_parameter("Materials", materials_,
                          "Material ids, separated by commas: the cells of these. Empty: all.");
        prm.add_parameter("Integral", integral_, "Whether the integral is meant rather than the average.");
      }

      void initialize(const ForwardModel<dim> &model, const FieldSet<dim> &fields, const std::string &section) override
      {
        source_.initialize(model, fields, section);
        read_box(section);
        read_materials(section);
        collect_points();
        const double measure = Utilities::MPI::sum(local_measure_, source_.mesh().comm());
        if (!(measure > 0.))
          throw UserError(section + ": no part of the mesh is in this box and of these materials.");
        scale_ = integral_ ? 1. : 1. / measure;
      }

      Vector part(const ModelState<dim> &state) const override
      {
        const GhostedVector values = source_.values(state);
        double sum                 = 0.;
        for (const Cell &cell : cells_)
          for (const Row &row : cell.rows)
          {
            double value = 0.;
            for (std::size_t k = 0; k < cell.dofs.size(); ++k)
              value += row.shape[k] * values(cell.dofs[k]);
            sum += row.weight * source_.transformed(value);
          }
        return Vector::Constant(1, scale_ * sum);
      }

    private:
      struct Row ///< one quadrature point
      {
        std::vector<double> shape;
        double weight;
      };
      struct Cell
      {
        std::vector<types::global_dof_index> dofs;
        std::vector<Row> rows;
      };

      void read_box(const std::string &section)
      {
        if (trim(box_).empty())
          return;
        const auto corners = split(box_, ';');
        if (corners.size() != 2)
          throw UserError(section + "/Box: two corners are needed, separated by a semicolon, but found “" + box_ +
                          "”.");
        const auto low  = parse_numbers(corners[0], section + "/Box"),
                   high = parse_numbers(corners[1], section + "/Box");
        if (low.size() != dim || high.size() != dim)
          throw UserError(section + "/Box: a corner has " + std::to_string(dim) + " coordinates, but found “" + box_ +
                          "”.");
        for (unsigned int d = 0; d < dim; ++d)
        {
          low_[d]  = std::min(low[d], high[d]);
          high_[d] = std::max(low[d], high[d]);
        }
        has_box_ = true;
      }

      void read_materials(const std::string &section)
      {
        const auto &known = source_.mesh().material_ids();
        for (const double number : parse_numbers(materials_, section + "/Materials"))
        {
          if (std::find(known.begin(), known.end(), number) == known.end())
            throw UserError(section + "/Materials: the mesh has no cells of the material " + to_text(number) + ".");
          material_set_.insert(static_cast<types::material_id>(number));
        }
      }

      bool is_inside(const Point<dim> &x) const
      {
        for (unsigned int d = 0; d < dim; ++d)
          if (x[d] < low_[d] || x[d] > high_[d])
            return false;
        return true;
      }

      void collect_points()
      {
        const auto &handler = source_.dof_handler();
        const auto &fe      = handler.get_fe();
        const auto flags    = update_values | update_quadrature_points | update_JxW_values;
        const QGauss<dim> plain(fe.degree + 2);
        const QIterated<dim> fine(QMidpoint<1>(), 8);
        FEValues<dim> values(source_.mesh().mapping(), fe, plain, flags),
            cut(source_.mesh().mapping(), fe, fine, flags);
        for (const auto &cell : handler.active_cell_iterators())
        {
          if (!cell->is_locally_owned() || (!material_set_.empty() && material_set_.count(cell->material_id()) == 0))
            continue;
          unsigned int vertices_inside = 0;
          for (const unsigned int v : cell->vertex_indices())
            vertices_inside += !has_box_ || is_inside(cell->vertex(v)) ? 1 : 0;
          FEValues<dim> &here = vertices_inside == cell->n_vertices() ? values : cut;
          here.reinit(cell);
          Cell points;
          for (unsigned int q = 0; q < here.n_quadrature_points; ++q)
            if (!has_box_ || is_inside(here.quadrature_point(q)))
            {
              Row row{{}, here.JxW(q)};
              for (unsigned int k = 0; k < fe.dofs_per_cell; ++k)
                row.shape.push_back(
                    fe.system_to_component_index(k).first == source_.component() ? here.shape_value(k, q) : 0.);
              points.rows.push_back(std::move(row));
              local_measure_ += here.JxW(q);
            }
          if (points.rows.empty())
            continue;
          points.dofs.resize(fe.dofs_per_cell);
          cell->get_dof_indices(points.dofs);
          cells_.push_back(std::move(points));
        }
      }

      QuantitySource<dim> source_;
      std::string box_, materials_;
      bool integral_ = false, has_box_ = false;
      Point<dim> low_, high_;
      std::set<types::material_id> material_set_;
      std::vector<Cell> cells_;
      double local_measure_ = 0., scale_ = 1.;
    };

    const char *const average_text =
        "The average (or the integral) over a box, over materials, or over the whole mesh.";
    const Registration<Quantity<2>, Average<2>> average_2d("average", average_text);
    const Registration<Quantity<3>, Average<3>> average_3d("average", average_text);
  } // namespace
} // namespace varfield
