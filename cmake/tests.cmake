find_program(VARFIELD_MPIRUN NAMES mpirun mpiexec DOC "Starts the tests on several ranks" REQUIRED)
execute_process(COMMAND ${VARFIELD_MPIRUN} --version OUTPUT_VARIABLE mpirun_version ERROR_QUIET)
# Open MPI refuses more ranks than cores unless told, and pins the ranks of every run to the same first cores.
if(mpirun_version MATCHES "Open MPI|OpenRTE|open-mpi")
  set(VARFIELD_MPIRUN_FLAGS --oversubscribe --bind-to none)
endif()

# Registers one test for every file test_<suite>.cc and number of ranks, called <suite>.<ranks> and labelled <suite>. The
# ranks are 1 and 3, or those that the file names in a line like
#     // ranks: 1 2 3 4
# Each test runs in a folder of its own.
function(varfield_register_tests target)
  foreach(file ${ARGN})
    get_filename_component(name ${file} NAME_WE)
    string(REGEX REPLACE "^test_" "" suite ${name})
    set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${file})
    file(STRINGS ${file} ranks_line REGEX "^// ranks:" LIMIT_COUNT 1)
    string(REGEX MATCHALL "[0-9]+" ranks "${ranks_line}")
    if(NOT ranks)
      set(ranks 1 3)
    endif()
    foreach(n ${ranks})
      varfield_register_run(${target} ${suite} ${n})
    endforeach()
  endforeach()
endfunction()

function(varfield_register_run target suite n_ranks)
  set(test ${suite}.${n_ranks})
  set(folder ${CMAKE_CURRENT_BINARY_DIR}/runs/${test})
  file(MAKE_DIRECTORY ${folder})
  add_test(NAME ${test}
           COMMAND ${VARFIELD_MPIRUN} ${VARFIELD_MPIRUN_FLAGS} -np ${n_ranks} $<TARGET_FILE:${target}> --run_test=${suite}
           WORKING_DIRECTORY ${folder})
  # Four ranks on a laptop with two cores are tested too: no more than two cores are asked for.
  set(processors ${n_ranks})
  if(processors GREATER 2)
    set(processors 2)
  endif()
  set_tests_properties(${test} PROPERTIES
    LABELS ${suite}
    PROCESSORS ${processors}
    TIMEOUT 600
    ENVIRONMENT "OMP_NUM_THREADS=1;OMPI_ALLOW_RUN_AS_ROOT=1;OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1;OMPI_MCA_mpi_yield_when_idle=1;BOOST_TEST_COLOR_OUTPUT=no")
endfunction()
