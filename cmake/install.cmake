# What `cmake --install` puts where. Besides bin/varfield it is a CMake package: a project of four lines can build its own
# varfield with more PDEs, priors, families, … (see cmake/varfieldConfig.cmake.in).
include(CMakePackageConfigHelpers)

set(VARFIELD_DATA ${CMAKE_INSTALL_DATADIR}/varfield)
set(VARFIELD_PACKAGE ${CMAKE_INSTALL_LIBDIR}/cmake/varfield)

# Off the distribution, deal.II lies where the loader does not look.
set_target_properties(varfield PROPERTIES INSTALL_RPATH_USE_LINK_PATH ON)
install(TARGETS varfield RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
install(DIRECTORY include/varfield DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} FILES_MATCHING PATTERN *.h)
install(DIRECTORY parameter_files meshes DESTINATION ${VARFIELD_DATA} PATTERN ktc2023/data EXCLUDE PATTERN __pycache__ EXCLUDE)
install(PROGRAMS scripts/render.py scripts/scenes.py scripts/score.py DESTINATION ${VARFIELD_DATA}/scripts)
install(FILES LICENSE CHANGELOG.md CITATION.cff DESTINATION ${CMAKE_INSTALL_DOCDIR})

# All objects but main.cc in one archive, which the package links as a whole: plugins register themselves from static
# objects, and a linker would drop what nobody calls.
add_library(archive STATIC $<TARGET_OBJECTS:core>)
set_target_properties(archive PROPERTIES OUTPUT_NAME varfield LINKER_LANGUAGE CXX)
install(TARGETS archive ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(FILES source/main.cc DESTINATION ${VARFIELD_DATA}/source)

set(VARFIELD_LIBRARY ${CMAKE_INSTALL_LIBDIR}/libvarfield.a)
configure_package_config_file(cmake/varfieldConfig.cmake.in ${CMAKE_BINARY_DIR}/varfieldConfig.cmake
                              INSTALL_DESTINATION ${VARFIELD_PACKAGE}
                              PATH_VARS CMAKE_INSTALL_INCLUDEDIR VARFIELD_DATA VARFIELD_LIBRARY)
write_basic_package_version_file(${CMAKE_BINARY_DIR}/varfieldConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_BINARY_DIR}/varfieldConfig.cmake ${CMAKE_BINARY_DIR}/varfieldConfigVersion.cmake
        DESTINATION ${VARFIELD_PACKAGE})
