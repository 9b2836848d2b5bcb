#ifndef varfield_petsc_options_h
#define varfield_petsc_options_h

#include <petscsys.h>

namespace varfield
{
  /// Until the end of the object's life options of PETSc are set in a database of their own, which has what the
  /// environment gave to the program: for one of several cases of the same process. Objects must end in the opposite
  /// order.
  class OwnPetscOptions
  {
  public:
    OwnPetscOptions()
    {
      char *of_environment = nullptr;
      PetscOptionsGetAll(nullptr, &of_environment);
      PetscOptionsCreate(&options_);
      PetscOptionsInsertString(options_, of_environment);
      PetscFree(of_environment);
      PetscOptionsPush(options_);
    }
    ~OwnPetscOptions()
    {
      PetscOptionsPop();
      PetscOptionsDestroy(&options_);
    }
    OwnPetscOptions(const OwnPetscOptions &)            = delete;
    OwnPetscOptions &operator=(const OwnPetscOptions &) = delete;

  private:
    PetscOptions options_ = nullptr;
  };
} // namespace varfield

#endif
