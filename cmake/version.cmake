# The version and the git commit, in the only file that a new commit recompiles.
execute_process(COMMAND git describe --always --dirty --abbrev=12 WORKING_DIRECTORY ${CMAKE_SOURCE_DIR}
                OUTPUT_VARIABLE VARFIELD_COMMIT OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
if(NOT VARFIELD_COMMIT)
  set(VARFIELD_COMMIT unknown)
endif()
set(VARFIELD_VERSION_SOURCE ${CMAKE_BINARY_DIR}/version.cc)
configure_file(${CMAKE_SOURCE_DIR}/cmake/version.cc.in ${VARFIELD_VERSION_SOURCE} @ONLY)
set_source_files_properties(${VARFIELD_VERSION_SOURCE} PROPERTIES SKIP_UNITY_BUILD_INCLUSION ON)
